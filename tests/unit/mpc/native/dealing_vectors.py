"""Vectors of dealings: tests/vectors/dealings.csv.

One line is one dealer of a copy. `case` names the copy. All numbers are hexadecimal; the
polynomial's coefficients do not include the constant. The crate's tests read the file as well.

    python -m tests.unit.mpc.native.dealing_vectors    # writes the file again
"""

import csv
import hashlib
from dataclasses import asdict, dataclass, fields
from itertools import count
from pathlib import Path
from typing import Any

from tests.unit.mpc.native import feldman
from tests.unit.mpc.native.keys import DKLS, ED25519, TAPROOT

FILE = Path(__file__).parents[3] / "vectors" / "dealings.csv"


@dataclass(frozen=True)
class Vector:
    case: str
    protocol: str
    quorum: str
    index: int
    share: str
    verifying_share: str
    signers: int
    coefficients: str
    commitments: str
    sub_shares: str

    def quorum_indices(self) -> list[int]:
        return [int(index) for index in self.quorum.split()]

    def points(self) -> list[bytes]:
        return [bytes.fromhex(point) for point in self.commitments.split()]

    def sub_share(self, index: int) -> bytes:
        return bytes.fromhex(self.sub_shares.split()[index - 1])


def read() -> list[Vector]:
    with FILE.open() as file:
        rows = list(csv.DictReader(file))
    whole: list[dict[str, Any]] = [
        {**row, "index": int(row["index"]), "signers": int(row["signers"])} for row in rows
    ]
    return [Vector(**row) for row in whole]


def made() -> list[Vector]:
    vectors = []
    for protocol in (DKLS, ED25519, TAPROOT):
        order = feldman.curve_of(protocol).order
        vectors += _case(f"{protocol} 2-of-3 to 3-of-5", protocol, {1: None, 3: None}, 3, 5)
        vectors += _case(
            f"{protocol} 3-of-5 to 2-of-3", protocol, {1: 1, 2: order - 1, 5: None}, 2, 3
        )
        vectors += _case(f"{protocol} 2-of-2 to 2-of-2", protocol, {1: 2**200, 2: None}, 2, 2)
    return vectors


def _case(
    case: str, protocol: str, shares: dict[int, int | None], threshold: int, signers: int
) -> list[Vector]:
    """One line for each dealer; a share of None is drawn from the case's name."""
    curve = feldman.curve_of(protocol)
    numbers = (
        int.from_bytes(hashlib.sha512(f"{case} {number}".encode()).digest()) % curve.order
        for number in count()
    )
    vectors = []
    for index, chosen in shares.items():
        share = chosen or next(numbers)
        coefficients = [next(numbers) for _ in range(1, threshold)]
        term = feldman.lagrange(curve, list(shares), index) * share % curve.order
        dealing = feldman.deal(curve, [term, *coefficients], signers)
        vectors.append(
            Vector(
                case=case,
                protocol=protocol,
                quorum=" ".join(map(str, shares)),
                index=index,
                share=share.to_bytes(32).hex(),
                verifying_share=curve.base_times(share).hex(),
                signers=signers,
                coefficients=" ".join(one.to_bytes(32).hex() for one in coefficients),
                commitments=" ".join(point.hex() for point in dealing.commitments),
                sub_shares=" ".join(one.hex() for one in dealing.sub_shares.values()),
            )
        )
    return vectors


def write() -> None:
    with FILE.open("w", newline="") as file:
        names = [field.name for field in fields(Vector)]
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(vector) for vector in made())


if __name__ == "__main__":
    write()
