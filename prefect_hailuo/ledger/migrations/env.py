"""How Alembic is to run the ledger's migrations: on the connection that it is given."""

from alembic import context

from prefect_hailuo.ledger.tables import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
context.run_migrations()
