"""The revisions that programs compare their databases with."""

import pytest
from alembic.script import ScriptDirectory

from custody.migrations.schema import HEADS, alembic_config


@pytest.mark.parametrize("tree", HEADS)
def test_the_stated_head_is_the_only_head_of_its_tree(tree: str):
    found = ScriptDirectory.from_config(alembic_config(tree, "postgresql://nobody")).get_heads()
    assert found == [HEADS[tree]]
