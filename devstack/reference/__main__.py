"""``make reference``: write the generated pages."""

from custody.runtime.console import out
from devstack.reference.pages import DOCS, generated_pages


def main() -> None:
    for name, text in generated_pages().items():
        path = DOCS / name
        if path.exists() and path.read_text("utf-8") == text:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        out.print(f"wrote docs/{name}", markup=False)


if __name__ == "__main__":
    main()
