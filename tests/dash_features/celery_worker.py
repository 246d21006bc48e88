"""What a Celery worker of `test_background_callbacks.py` imports, and its server too; REDIS_URL says where Redis is."""

from __future__ import annotations

import os

from celery import Celery

from flash import CeleryManager
from tests.dash_features.background_app import make_app

celery = Celery("celery_worker", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
app = make_app(CeleryManager(celery))
