"""An object store on this machine, as S3 answers: what tests of `--store` talk to."""

import contextlib
import uuid
from collections.abc import Iterator


@contextlib.contextmanager
def bucket(monkeypatch) -> Iterator[str]:
    """The address of an empty bucket; the environment names its server and keys that it does not look at."""
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        name = f"results-{uuid.uuid4().hex}"  # moto keeps the buckets of earlier servers
        s3fs.S3FileSystem(skip_instance_cache=True).mkdir(name)
        yield f"s3://{name}/folder"
    finally:
        server.stop()
