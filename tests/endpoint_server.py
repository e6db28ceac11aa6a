"""A server on loopback that speaks the interface of OpenAI, answers by a rule of its own, and fails as it is told to.

Its model answers by a function of the prompt, a token a word, and the log-probabilities follow from the words.
"""

import contextlib
import json
import math
import re
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "sk-loopback-0123456789abcdef"
MODEL = "tiny"


def logprob(text: str) -> float:
    """The log-probability of a token, in (−2, 0)."""
    return -2 * (zlib.crc32(text.encode()) % 1000 + 1) / 1001


def tokens(text: str) -> list[str]:
    return re.findall(r"\s*\S+\s*$|\s*\S+|\s+$", text)


class Server(ThreadingHTTPServer):
    """Answers at `url` until the block ends.

    Attributes:
        faults: what goes wrong with the next requests, one each: (status, headers, text), or a name in `respond`.
        always: the same for all that have none of their own.
        requests: (path, body) of all so far. keys: the `Authorization` of each.
        models: those it knows; None for all. answer: a function from a prompt to the answer. seconds: of each answer.
        form: "chat" or "old", of log-probabilities at /completions. echo: whether it knows `echo`.
        busiest: most requests under way at a time.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        self.faults, self.always, self.requests, self.keys = [], None, [], []
        self.models = (MODEL,)
        self.answer, self.form, self.echo, self.seconds = lambda prompt: "it is so", "old", True, 0.0
        self.lock, self.under_way, self.busiest = threading.Lock(), 0, 0

    def handle_error(self, request, client_address):
        """A client that went away is what is tested."""


@contextlib.contextmanager
def serving():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        """Nothing is printed."""

    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.requests.append((self.path, body))
            server.keys.append(self.headers["Authorization"])
            server.under_way += 1
            server.busiest = max(server.busiest, server.under_way)
            fault = server.faults.pop(0) if server.faults else server.always
        try:
            time.sleep(server.seconds)
            if server.models and body["model"] not in server.models:
                fault = (404, {}, json.dumps({"error": {"message": f"The model {body['model']!r} does not exist."}}))
            self.respond(body, fault)
        finally:
            with server.lock:
                server.under_way -= 1

    def respond(self, body, fault):
        if isinstance(fault, tuple):
            status, headers, text = fault
            return self.send(text.encode(), status, headers)
        payload = self.payload(body)
        match fault:
            case "no choices":
                payload["choices"] = []
            case "no usage":
                del payload["usage"]
            case "no logprobs":
                payload["choices"][0]["logprobs"] = None
            case "slow":
                time.sleep(1.2)
        content = json.dumps(payload).encode()
        match fault:
            case "html":
                return self.send(
                    b"<!DOCTYPE html><html><body>Sign in</body></html>", headers={"Content-Type": "text/html"}
                )
            case "half":
                return self.send(content[: len(content) // 2])
            case "cut":
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2])
                self.wfile.flush()
                self.close_connection = True
                return None
        return self.send(content)

    def send(self, content: bytes, status=200, headers=None):
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | (headers or {})).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def payload(self, body) -> dict:
        chat = "messages" in body
        prompt = "".join(m["content"] for m in body["messages"]) if chat else body["prompt"]
        written = tokens(self.server.answer(prompt))[: body["max_tokens"]]
        text = "".join(written)
        ends = [place for place in map(text.find, body.get("stop", ())) if place >= 0]
        text = text[: min(ends)] if ends else text
        shown, first = written, 0
        if body.get("echo") and self.server.echo:
            shown, text = [*tokens(prompt), *written], prompt + text
            first = 1  # the first token of all has no log-probability
        choice = {"text": text} if not chat else {"message": {"role": "assistant", "content": text}}
        if body.get("logprobs"):
            choice["logprobs"] = self.logprobs(shown, first, chat or self.server.form == "chat", body)
        usage = {"prompt_tokens": len(tokens(prompt)), "completion_tokens": len(written)}
        return {"choices": [{"index": 0, "finish_reason": "stop"} | choice], "usage": usage}

    def logprobs(self, shown, first, chat, body) -> dict:
        values = [None] * first + [logprob(t) for t in shown[first:]]
        second = [v if v is None else math.log(max(1 - math.exp(v), 1e-9) * 0.5) for v in values]
        tops = [None if v is None else {t: v, "~": s} for t, v, s in zip(shown, values, second, strict=True)]
        if chat:
            return {"content": [
                {"token": t, "logprob": v, "top_logprobs": [{"token": k, "logprob": x} for k, x in (top or {}).items()]}
                for t, v, top in zip(shown, values, tops, strict=True)
            ]}  # fmt: skip
        return {"tokens": shown, "token_logprobs": values, "top_logprobs": tops}
