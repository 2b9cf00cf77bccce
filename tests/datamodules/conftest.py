import json

import pytest
from coco_content import LABELS, small_content

from datamodules.coco_annotations import Annotations
from datamodules.coco_records import COCOS_OWN, read_records


@pytest.fixture
def content():
    return small_content()


@pytest.fixture
def read(tmp_path):
    """Reads content, a text or bytes as an annotation file."""

    def read(content):
        if not isinstance(content, bytes):
            content = (content if isinstance(content, str) else json.dumps(content)).encode()
        path = tmp_path / "instances.json"
        path.write_bytes(content)
        return Annotations(**read_records(path, LABELS, COCOS_OWN))

    return read
