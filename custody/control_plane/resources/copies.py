"""The copies of a key: keys of their own, each of which another signer group holds."""

COPIES = """
    ARRAY(SELECT copy.id FROM keys copy JOIN jobs made ON made.id = copy.id
        WHERE copy.copied_from = keys.id AND made.state NOT IN ('Denied', 'Failed')
        ORDER BY copy.created_at, copy.id)
"""
"""An SQL expression: the copies of a row of ``keys``, oldest first, without failed ones."""
