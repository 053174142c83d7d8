"""A very small agent: it remembers what was said, and recalls what matters before it answers.

`answer` stands where a language model would: it receives the question and the recalled turns. Needs a running
daemon (`t4dm serve`) at T4DM_URL, by default http://127.0.0.1:8765.
"""

import asyncio

from t4dm import AsyncT4DM

TURNS = [
    "I'm allergic to walnuts, so please leave them out of everything.",
    "My sister Ragnhild visits me on Saturday.",
    "She loves plum cake.",
    "What should I bake when my sister comes?",
    "Is there anything that I must not put into the dough?",
]


def answer(question: str, recalled: list[str]) -> str:
    """Return an answer; a real agent would put both into the model's prompt."""
    return f"({len(question.split())} words, thinking of: {' | '.join(recalled) or 'nothing'})"


async def main() -> None:
    async with AsyncT4DM(agent_id="small-agent", user_id="async-example", session_id="kitchen") as memory:
        await memory.delete_all(user_id="async-example")  # so that running it again begins afresh
        for turn in TURNS:
            print("you:  ", turn)
            if turn.endswith("?"):
                hits = await memory.search(turn, k=2)
                print("agent:", answer(turn, [hit.memory.content for hit in hits]))
            else:
                await memory.add(turn, metadata={"role": "user"})


if __name__ == "__main__":
    asyncio.run(main())
