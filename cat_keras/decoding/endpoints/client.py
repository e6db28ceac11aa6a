"""Requests to a server by the `openai` client, many at a time; what goes wrong ends in one error without the key."""

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from cat_keras.decoding.endpoints import replies
from cat_keras.decoding.endpoints.record import Record, name_of
from cat_keras.decoding.endpoints.replies import Malformed, NoLogprobs, Reply
from cat_keras.errors import CatKerasError

SHOWN = 300  # characters of what a server says


class Client:
    """Asks one endpoint.

    Args:
        endpoint: the `Endpoint`. The key is read from the environment here, and kept by the client of `openai` alone.

    Raises:
        CatKerasError: `openai` is not installed, or the environment has no such key.
    """

    def __init__(self, endpoint):
        try:
            import openai
        except ImportError:
            raise CatKerasError(
                "An endpoint is asked by the package openai. Received: an environment without it. "
                'pip install "cat-keras[endpoint]"'
            ) from None
        self.endpoint, self._openai, self._key = endpoint, openai, os.environ.get(endpoint.key, "")
        if endpoint.key and not self._key:
            raise CatKerasError(
                f"The key of {endpoint.name} is in the environment. Received: no variable {endpoint.key}. Export it"
            )
        # Without a key of ours the client would send that of its own variable, OPENAI_API_KEY, to whatever address.
        self._client = openai.OpenAI(
            api_key=self._key or "none", base_url=endpoint.url, timeout=endpoint.timeout, max_retries=endpoint.retries
        )
        self._client.organization = self._client.project = None

    def ask(
        self,
        requests: Sequence[Mapping],
        check: Callable[[Mapping, Reply], object] = lambda request, reply: None,
        progress: Callable[[int], None] | None = None,
    ) -> list[Reply]:
        """The answer to each request, in their order.

        The first one is asked alone, so that what is wrong with all is found at once. When one fails, those under way
        are waited for, so that an answer that was paid for is kept.

        Args:
            requests: bodies in JSON values. Those with "messages" go to the chat.
            check: gets a request and its answer, before the answer is kept; raises `Malformed` where it will not do.
            progress: gets the number of requests newly answered.

        Raises:
            CatKerasError: the server cannot be reached, refuses, or gives something else than answers.
        """
        record = Record(self.endpoint.answers)
        names = [name_of(self.endpoint.url, request) for request in requests]
        kept = {name: record.get(name) for name in names}
        places = Counter(names)  # the same request may come twice, and is asked once
        missing = [
            (name, request) for name, request in dict(zip(names, requests, strict=True)).items() if not kept[name]
        ]
        if progress and (known := len(names) - sum(places[name] for name, _ in missing)):
            progress(known)

        def answer(name: str, request: Mapping) -> int:
            kept[name] = self._reply(request, check)
            record.add(name, kept[name])
            return places[name]

        pool = ThreadPoolExecutor(self.endpoint.concurrency, thread_name_prefix="endpoint")
        try:
            for part in (missing[:1], missing[1:]):
                for done in as_completed([pool.submit(answer, *request) for request in part]):
                    count = done.result()
                    if progress:
                        progress(count)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            record.close()
        return [kept[name] for name in names]

    def _reply(self, request: Mapping, check) -> Reply:
        create = self._client.chat.completions if "messages" in request else self._client.completions
        body = dict(request)
        asked = {name: body.pop(name) for name in ("model", "prompt", "messages") if name in body}
        began = time.perf_counter()
        try:
            response = create.with_raw_response.create(**asked, extra_body=body).http_response
            try:
                payload = json.loads(response.content)
            except ValueError:
                kind = response.headers.get("content-type", "no type").partition(";")[0]
                raise Malformed(f"{len(response.content):,} bytes of {kind} that are no JSON") from None
            reply = replies.read(payload, bool(body.get("logprobs")), time.perf_counter() - began)
            check(request, reply)
            return reply
        except NoLogprobs as error:
            raise self._error(
                f"gives the log-probabilities that confidence is read from. Received: {error}",
                "Ask another server or model, or make this one the last stage with logprobs=False"
                if "echo" not in str(error)
                else 'Give options="match", for which an answer is generated and the option that it names is taken',
            ) from None
        except Malformed as error:
            remedy = "Look at the address, and at what serves there"
            raise self._error(f"answers with a completion in JSON. Received: {error}", remedy) from None
        except self._openai.APIStatusError as error:
            raise self._refused(error) from None
        except self._openai.APITimeoutError:
            limit = f"{self.endpoint.retries + 1} times none in {self.endpoint.timeout:g} s"
            raise self._error(f"answers in time. Received: {limit}", "Give a longer timeout=, or ask less at a time, "
                              "concurrency=") from None  # fmt: skip
        except self._openai.APIConnectionError as error:
            cause = error.__cause__ or error
            raise self._error(
                f"can be reached. Received: {type(cause).__name__}: {cause}",
                "Look whether the server runs; answers so far are kept where answers= names a file",
            ) from None

    def _refused(self, error) -> CatKerasError:
        """The error for a status other than that of success."""
        status, name = error.status_code, self.endpoint.key
        body = error.body if isinstance(error.body, Mapping) else {}
        said = " ".join(str(body.get("message") or error.response.text or "nothing").split())[:SHOWN]
        if status in (401, 403):
            remedy = f"Look at the key in {name}" if name else "Name the environment variable of its key, key="
        elif status == 404:
            remedy = "Look at the address, which ends in its version (/v1), and at the name of the model"
        elif status == 429 or status >= 500:
            remedy = f"It was asked {self.endpoint.retries + 1} times; wait, raise retries=, or lower concurrency="
        elif "logprob" in said:
            remedy = "A server without log-probabilities can be the last stage, with logprobs=False"
        else:
            remedy = "Look at the settings; fields= changes or leaves out a field of the requests"
        return self._error(f"answers. Received: status {status}: {said}", remedy)

    def _error(self, what: str, remedy: str) -> CatKerasError:
        """An error about this endpoint. A server may repeat the key, so it is taken out."""
        text = f"{self.endpoint.name} {what}"
        return CatKerasError(f"{text.replace(self._key, '…') if self._key else text}. {remedy}")
