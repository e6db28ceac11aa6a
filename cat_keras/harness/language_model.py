"""The class that lm-evaluation-harness wants, around an engine; importing this needs lm_eval."""

from lm_eval.api.model import LM

from cat_keras.errors import CatKerasError
from cat_keras.harness.engines import CascadeEngine, Engine

CHAT = "Give the chat to the model instead: chat=ck.Chat(…), and leave apply_chat_template out"


class LanguageModel(LM):
    """A model or a cascade as a language model of lm-evaluation-harness; see `lm_eval.of`."""

    def __init__(self, engine: Engine, name: str):
        super().__init__()
        self.engine, self.name = engine, name

    @property
    def answers(self) -> list:
        """`Answered`, one per question in the order of asking."""
        return self.engine.answers

    @property
    def truncated(self) -> int:
        """Contexts so far that lost their beginning."""
        return self.engine.truncated

    def loglikelihood(self, requests):
        return self.engine.loglikelihood(requests)

    def loglikelihood_rolling(self, requests):
        return self.engine.loglikelihood_rolling(requests)

    def generate_until(self, requests):
        return self.engine.generate_until(requests)

    def get_model_info(self) -> dict:
        """What the harness puts into the `config` of its results."""
        return {"model_name": self.name}

    def set_cache_hook(self, cache_hook):
        # A cache would hold back requests of a question that another question shares.
        if isinstance(self.engine, CascadeEngine):
            raise CatKerasError(
                "A cascade decides per question, and a cache holds answers to single requests. Received: use_cache. "
                "Leave it out"
            )
        super().set_cache_hook(cache_hook)

    @property
    def tokenizer_name(self) -> str:
        return self.name

    def chat_template(self, chat_template=False) -> str:
        raise CatKerasError(f"Prompts get their form from the model's own chat. Received: apply_chat_template. {CHAT}")

    def apply_chat_template(self, chat_history, add_generation_prompt=True) -> str:
        return self.chat_template()
