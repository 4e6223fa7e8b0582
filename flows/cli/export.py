"""`freqd export`: a registered model's features for other systems."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.cli.model_options import CHAMPION, WhichModel
from flows.cli.options import DONE
from flows.cli.output import say


def export(
    *,
    out: Annotated[Path, Parameter(help="File ending in .safetensors or .npz, or a folder for Parquet files.")],
    which: WhichModel = CHAMPION,
) -> int:
    """Write a registered model's features with their ids, for other systems."""
    from freqd.serve import export_features
    from freqd.serve.export import check_target, form_of

    out = out.expanduser()
    form = form_of(out)
    check_target(out, form)
    registered = which.find()
    version, recommender = registered.open()
    features, user_ids, item_ids = recommender.features, recommender.user_ids, recommender.item_ids
    export_features(features, user_ids, item_ids, out, form)
    text = (
        f"{len(user_ids):,} users and {len(item_ids):,} items, dimension {features.dim}, "
        f"of {registered.name} version {version}: {out}"
    )
    say(text)
    return DONE
