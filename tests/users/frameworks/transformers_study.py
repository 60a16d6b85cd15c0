"""A study whose trials are trainings of Hugging Face's Trainer, of a model and data made here."""

from __future__ import annotations

import time
from typing import Any

from hpo import Float, NoPruner, Random, Run, Study


class Rows:
    """Sequences to be told apart by their first token."""

    def __init__(self, count: int) -> None:
        import torch

        self.tokens = torch.randint(3, 20, (count, 6), generator=torch.Generator().manual_seed(count))

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> dict[str, Any]:
        time.sleep(0.001)
        return {"input_ids": self.tokens[index], "labels": int(self.tokens[index][0] > 10)}


def train(run: Run) -> None:
    from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

    from hpo.integrations.transformers import HpoCallback

    hook = HpoCallback(run)
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1}
    model = BertForSequenceClassification(BertConfig(vocab_size=20, max_position_embeddings=8, **sizes))
    arguments = TrainingArguments(
        run.checkpoint_dir, seed=run.seed, num_train_epochs=run.max_epochs, learning_rate=run.params["lr"],
        eval_strategy="epoch", save_strategy="no", logging_strategy="no", report_to="none", use_cpu=True,
        disable_tqdm=True,
    )  # fmt: skip
    trainer = Trainer(model, arguments, train_dataset=Rows(80), eval_dataset=Rows(16), callbacks=[hook])
    trainer.train(resume_from_checkpoint=hook.resume_from_checkpoint)


study = Study(
    name="transformers_study",
    train=train,
    objective="eval_loss",
    direction="minimize",
    epochs=16,
    space={"lr": Float(1e-4, 1e-2, log=True)},
    baseline={"lr": 1e-3},
    sampler=Random(),
    pruner=NoPruner(),
)
