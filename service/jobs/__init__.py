"""The queue of record: which worker owns which row, and what follows when work begins and ends.

Workers enter the service here. What they need of the store is passed on below.
"""

from service.store import contents, published
from service.store.capabilities import publish
from service.store.dict_form import check_storable, descriptions, plain, read, storable_text, stored
from service.store.migrate import NewerDatabaseError, refuse_newer
from service.store.outages import outlast, passes, write
from service.store.session import Session, reading, transaction
from service.store.tables import Score, Worker, new_worker_id

__all__ = [
    "NewerDatabaseError",
    "Score",
    "Session",
    "Worker",
    "check_storable",
    "contents",
    "descriptions",
    "new_worker_id",
    "outlast",
    "passes",
    "plain",
    "publish",
    "published",
    "read",
    "reading",
    "refuse_newer",
    "storable_text",
    "stored",
    "transaction",
    "write",
]
