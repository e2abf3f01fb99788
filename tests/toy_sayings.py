"""A text generator that says what it was told to, call by call."""

from collections.abc import Callable, Sequence

from models.language.generator import Completion, Message

Saying = Callable[[Sequence[Message]], str]


class ToyWriter:
    """sayings: what each call answers to a prompt, the last for all calls after. asked: the prompts of each call."""

    name = "toy"

    def __init__(self, *sayings: Saying) -> None:
        self.sayings = sayings
        self.asked: list[list[list[Message]]] = []

    def generate(self, prompts: Sequence[Sequence[Message]], most: int) -> list[Completion]:
        saying = self.sayings[min(len(self.asked), len(self.sayings) - 1)]
        self.asked.append([list(prompt) for prompt in prompts])
        texts = [saying(prompt) for prompt in prompts]
        return [
            Completion(text, sum(self.count([one.content for one in prompt])), len(text.split()), True)
            for text, prompt in zip(texts, prompts, strict=True)
        ]

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]
