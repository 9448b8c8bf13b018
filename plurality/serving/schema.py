"""What requests hold, checked as they come in; the same classes make `/openapi.json`."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from plurality.errors import InputError

UserId = Annotated[
    str,
    Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$"),
]
Text = Annotated[str, Field(min_length=1, pattern=r"\S")]
About = dict[Annotated[str, Field(min_length=1, max_length=64)], Annotated[str, Field(max_length=256)]]
Model = TypeVar("Model", bound=BaseModel)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Message(_Body):
    """A turn of a conversation."""

    role: Text
    content: str


Prompt = Annotated[
    Text | Annotated[list[Message], Field(min_length=1)], Field(description="text, or the messages of a conversation")
]


class AnswerBody(_Body):
    """One answer: a pair (chosen, rejected), a choice (completions, chosen), a ranking, a rating or a thumb (label)."""

    prompt: Prompt
    chosen: str | int | None = Field(None, description="the better text; of completions also its place, from 0")
    rejected: Text | None = None
    completions: list[Text] | None = Field(None, min_length=2, max_length=64)
    ranking: list[Text] | None = Field(None, min_length=2, max_length=64, description="completions, best first")
    completion: Text | None = None
    rating: float | None = None
    label: float | None = Field(None, description="of a completion: 1 good, 0 not; of a pair: 0.5 for a tie")
    score_chosen: float | None = Field(None, description="base reward, where the model starts from one")
    score_rejected: float | None = None
    scores: list[float] | None = None
    score: float | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "AnswerBody":
        given = {name for name, value in self if value is not None} - {"prompt"}
        plain = {name for name in given if not name.startswith("score")}
        kinds = ({"chosen", "rejected"}, {"completions", "chosen"}, {"ranking"}, {"completion", "rating"})
        if plain not in (*kinds, {"completion", "label"}, {"chosen", "rejected", "label"}):
            raise ValueError(
                "give chosen and rejected; completions and which of them is chosen; a ranking; or a completion and its "
                "rating or label"
            )
        if self.label is not None and self.label not in ((0.5,) if "rejected" in given else (0, 1)):
            raise ValueError("a label is 1 or 0 of a completion, 0.5 (a tie) of a pair")
        several = self.completions or self.ranking
        if several and len(set(several)) < len(several):
            raise ValueError("a completion is given twice; give each once")
        if self.completions and (
            not 0 <= self.chosen < len(self.completions)
            if isinstance(self.chosen, int)
            else self.chosen not in self.completions
        ):
            raise ValueError("chosen is none of completions; give its place from 0, or its text")
        if "rejected" in given and (not isinstance(self.chosen, str) or self.chosen == self.rejected):
            raise ValueError("chosen and rejected are two different texts")
        return self

    def row(self) -> dict[str, Any]:
        """The row of a table that `plurality.read` takes."""
        row = {name: value for name, value in self.model_dump().items() if value is not None}
        if self.completions and isinstance(self.chosen, int):
            row["chosen"] = self.completions[self.chosen]
        return row


class FeedbackBody(_Body):
    """What one user says."""

    user_id: UserId
    request_id: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[\x20-\x7e]+$")] = Field(
        description="a name of your own for this request; sent again under it, it counts once"
    )
    answers: list[AnswerBody] = Field(default=[], max_length=1000)
    about: About | None = Field(None, description="what the user says of themselves, by name")

    @model_validator(mode="after")
    def _something(self) -> "FeedbackBody":
        if not self.answers and not self.about:
            raise ValueError("neither answers nor about is given; give one of them")
        return self


class CandidateBody(_Body):
    """A question that could be asked: which of these completions?"""

    prompt: Prompt
    completions: list[Text] = Field(min_length=2, max_length=64)


class NextQuestionBody(_Body):
    """Whom to ask, and what could be asked; without candidates one of the study's."""

    user_id: UserId
    candidates: list[CandidateBody] | None = Field(None, min_length=1, max_length=4096)
    how: Literal["information", "random"] = "information"
    seed: int = 0


class ScoreRow(_Body):
    """A completion, and whose reward of it is asked for."""

    user_id: UserId
    prompt: Prompt
    completion: str
    base: float | None = Field(None, description="its score by the base reward, where the model starts from one")


class ScoreBody(_Body):
    """Completions to reward."""

    rows: list[ScoreRow]


class BestOfNBody(_Body):
    """Completions of one prompt, of which the user's best is asked for."""

    user_id: UserId
    prompt: Prompt
    completions: list[str] = Field(min_length=1)
    base: list[float] | None = None


class GetRewardBody(_Body):
    """OpenRLHF's request: query is prompt and completion, labels say whose reward."""

    query: list[str]
    prompts: list[str]
    labels: list[str | int | dict[str, Any] | None]


class ReloadBody(_Body):
    """Load the model's folder again."""

    fitted_through: int | None = Field(
        None, ge=0, description="number of the last stored answer that it was fitted on (last_answer of an export)"
    )


def parsed(model: type[Model], body: bytes) -> Model:
    """The body as the class has it. Raises InputError that names the place of what is wrong, and never what it says.

    model    class of the body
    body     JSON
    """
    try:
        return model.model_validate_json(body or b"{}")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the body"
        reason = first["msg"].removeprefix("Value error, ")
        raise InputError(f"{place}: {reason}; see /docs for what it may hold") from None
