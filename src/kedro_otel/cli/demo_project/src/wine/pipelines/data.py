"""From two raw tables to one table of wines, split for training and testing."""

import pandas as pd
from kedro.pipeline import Pipeline, node, pipeline
from sklearn.model_selection import train_test_split


def clean_measurements(measurements: pd.DataFrame, kept: float = 3.0) -> pd.DataFrame:
    """Drop repeated wines and pull extreme measurements to ``kept`` interquartile ranges from the quartiles."""
    table = measurements.drop_duplicates().set_index("wine")
    table.columns = [column.replace("/", "_to_") for column in table.columns]
    low, high = table.quantile(0.25), table.quantile(0.75)
    return table.clip(low - kept * (high - low), high + kept * (high - low), axis=1).reset_index()


def clean_cultivars(cultivars: pd.DataFrame) -> pd.DataFrame:
    """Keep the wines whose cultivar is known, as a category."""
    return cultivars.dropna().astype({"cultivar": "category"})


def join(measurements: pd.DataFrame, cultivars: pd.DataFrame) -> pd.DataFrame:
    """Put each wine's cultivar beside its measurements."""
    return measurements.merge(cultivars, on="wine", validate="one_to_one")


def describe(wines: pd.DataFrame) -> dict[str, object]:
    """Count the wines of each cultivar and average their measurements."""
    by_cultivar = wines.drop(columns="wine").groupby("cultivar", observed=True)
    return {
        "wines": len(wines),
        "by cultivar": by_cultivar.size().to_dict(),
        "means": by_cultivar.mean().round(3).to_dict("index"),
    }


def split(
    wines: pd.DataFrame, share: float, random_state: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Set ``share`` of the wines aside for testing, as many of each cultivar as there are."""
    train, test = train_test_split(
        wines.set_index("wine"),
        test_size=share,
        random_state=random_state,
        stratify=wines["cultivar"],
    )
    return train, test


def create_pipeline() -> Pipeline:
    """Return the pipeline."""
    return pipeline(
        [
            node(
                clean_measurements,
                "measurements",
                "clean_measurements",
                name="clean_measurements",
                tags="clean",
            ),
            node(
                clean_cultivars,
                "cultivars",
                "clean_cultivars",
                name="clean_cultivars",
                tags="clean",
            ),
            node(join, ["clean_measurements", "clean_cultivars"], "wines", name="join_tables"),
            node(describe, "wines", "overview", name="describe_wines", tags="report"),
            node(
                split,
                ["wines", "params:test_share", "params:random_state"],
                ["train_set", "test_set"],
                name="split_wines",
            ),
        ],
    )
