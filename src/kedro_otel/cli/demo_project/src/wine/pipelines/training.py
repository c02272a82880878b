"""Two models, the better one explained, and a report."""

from typing import Any

import matplotlib as mpl
import pandas as pd
from kedro.pipeline import Pipeline, node, pipeline
from matplotlib.figure import Figure
from sklearn.ensemble import RandomForestClassifier
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import ConfusionMatrixDisplay, accuracy_score, f1_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

mpl.use("agg")


def features(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """Return a table's measurements, and its cultivars."""
    return table.drop(columns="cultivar"), table["cultivar"].astype(str)


def train_forest(
    train_set: pd.DataFrame,
    trees: list[int],
    depths: list[int | None],
    folds: int,
    random_state: int,
) -> RandomForestClassifier:
    """Grow forests of every size and depth asked for, and return the best by cross-validation."""
    grid = {"n_estimators": trees, "max_depth": depths}
    return (
        GridSearchCV(RandomForestClassifier(random_state=random_state), grid, cv=folds)
        .fit(*features(train_set))
        .best_estimator_
    )


def train_linear(train_set: pd.DataFrame, folds: int) -> object:
    """Return the best logistic regression by cross-validation over its regularisation."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return (
        GridSearchCV(model, {"logisticregression__C": [0.01, 0.1, 1, 10]}, cv=folds)
        .fit(*features(train_set))
        .best_estimator_
    )


def evaluate(forest: Any, linear: Any, test_set: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Score both models on wines that they have not seen."""
    x, y = features(test_set)
    predicted = {"forest": forest.predict(x), "linear": linear.predict(x)}
    return {
        name: {"accuracy": accuracy_score(y, p), "f1": float(f1_score(y, p, average="macro"))}
        for name, p in predicted.items()
    }


def choose(scores: dict[str, dict[str, float]], forest: Any, linear: Any) -> object:
    """Return the model with the higher F1 score."""
    return max(
        (scores["forest"]["f1"], 0, forest),
        (scores["linear"]["f1"], 1, linear),
        key=lambda scored: scored[:2],
    )[2]


def explain(
    best_model: Any, test_set: pd.DataFrame, repeats: int, random_state: int
) -> pd.DataFrame:
    """Return how much accuracy the model loses when one measurement is shuffled, the most important first."""
    x, y = features(test_set)
    found = permutation_importance(best_model, x, y, n_repeats=repeats, random_state=random_state)
    table = pd.DataFrame(
        {
            "measurement": x.columns,
            "importance": found.importances_mean,
            "spread": found.importances_std,
        }
    )
    return table.sort_values("importance", ascending=False)


def plot_confusion(best_model: Any, test_set: pd.DataFrame) -> Figure:
    """Draw which cultivar is taken for which."""
    figure = Figure(figsize=(5, 4.5), layout="tight")
    ConfusionMatrixDisplay.from_estimator(
        best_model, *features(test_set), ax=figure.subplots(), colorbar=False
    )
    return figure


def write_report(
    overview: dict[str, Any], scores: dict[str, dict[str, float]], importances: pd.DataFrame
) -> str:
    """Say in Markdown how well it went and what mattered most."""
    lines = [f"# {overview['wines']} wines", "", "| model | accuracy | F1 |", "| --- | --- | --- |"]
    lines += [
        f"| {name} | {score['accuracy']:.3f} | {score['f1']:.3f} |"
        for name, score in scores.items()
    ]
    return "\n".join(
        [*lines, "", "Most telling: " + ", ".join(importances["measurement"].head(3)) + ".", ""]
    )


def create_pipeline() -> Pipeline:
    """Return the pipeline."""
    return pipeline(
        [
            node(
                train_forest,
                [
                    "train_set",
                    "params:trees",
                    "params:depths",
                    "params:folds",
                    "params:random_state",
                ],
                "forest",
                name="train_forest",
                tags="train",
            ),
            node(
                train_linear,
                ["train_set", "params:folds"],
                "linear",
                name="train_linear",
                tags="train",
            ),
            node(evaluate, ["forest", "linear", "test_set"], "scores", name="evaluate_models"),
            node(choose, ["scores", "forest", "linear"], "best_model", name="choose_model"),
            node(
                explain,
                ["best_model", "test_set", "params:repeats", "params:random_state"],
                "importances",
                name="explain_model",
                tags="report",
            ),
            node(
                plot_confusion,
                ["best_model", "test_set"],
                "confusion_plot",
                name="plot_confusion",
                tags="report",
            ),
            node(
                write_report,
                ["overview", "scores", "importances"],
                "report",
                name="write_report",
                tags="report",
            ),
        ],
    )
