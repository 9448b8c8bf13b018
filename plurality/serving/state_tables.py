"""The tables of a state."""

import sqlalchemy as sa

SCHEMA_VERSION = 1

tables = sa.MetaData()
meta = sa.Table("meta", tables, sa.Column("name", sa.String(64), primary_key=True), sa.Column("value", sa.Text))
users = sa.Table(
    "users",
    tables,
    sa.Column("user_id", sa.String(256), primary_key=True),
    sa.Column("last_answer", sa.BigInteger, nullable=False),
    sa.Column("about", sa.Text, nullable=False),
)
answers = sa.Table(
    "answers",
    tables,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("user_id", sa.String(256), nullable=False, index=True),
    sa.Column("said", sa.Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sqlite_autoincrement=True,  # a number that was taken is not taken again
)
codes = sa.Table(
    "codes",
    tables,
    sa.Column("user_id", sa.String(256), primary_key=True),
    sa.Column("model", sa.String(64), nullable=False),
    sa.Column("last_answer", sa.BigInteger, nullable=False),
    sa.Column("n_comparisons", sa.BigInteger, nullable=False),
    sa.Column("mean", sa.LargeBinary, nullable=False),
    sa.Column("covariance", sa.LargeBinary, nullable=False),
)
requests = sa.Table(
    "requests",
    tables,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("content", sa.String(64)),
    sa.Column("user_id", sa.String(256), index=True),
    sa.Column("last_answer", sa.BigInteger, nullable=False),
)
erased = sa.Table("erased", tables, sa.Column("digest", sa.String(64), primary_key=True), sa.Column("at", sa.Float))
log = sa.Table(
    "log",
    tables,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("action", sa.String(32), nullable=False),
    sa.Column("user_id", sa.String(256), index=True),
    sa.Column("client", sa.String(64), nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
)
