"""Observations: trajectories and their times, units, segments and minibatches.

What users pass is read and checked here, and comes out in scaled units, cut into weighted
minibatches of segments.
"""

from pyro_msde.data.arguments import (
    check_trajectories,
    num_controls_of,
    num_covariates_of,
    num_inputs_of,
)
from pyro_msde.data.arrays import as_array, to_numpy
from pyro_msde.data.calendar_phases import calendar_phases
from pyro_msde.data.choosing import evenly_spaced, nearest
from pyro_msde.data.common_times import Batch, all_times, common_batches
from pyro_msde.data.cutting import Splits
from pyro_msde.data.empty_snapshots import (
    first_observed,
    observed_snapshots,
    since_first_observed,
)
from pyro_msde.data.geographic_axes import EAST, NORTH, in_degrees, is_latitude, is_longitude
from pyro_msde.data.harmonics import fitted_harmonics, harmonics_at
from pyro_msde.data.inputs import Inputs, beside, held, inputs_of
from pyro_msde.data.instants import TimeUnits, rounding, same_times
from pyro_msde.data.labelled import in_order
from pyro_msde.data.linked_scaling import linked_scaling
from pyro_msde.data.links import Link, Log
from pyro_msde.data.metadata import Metadata, matched
from pyro_msde.data.outliers import warn_of_outliers
from pyro_msde.data.overlaps import num_separate
from pyro_msde.data.padding import Padding, cropped, padded
from pyro_msde.data.periods import check_period, period_in
from pyro_msde.data.quadrature import Quadrature, StratifiedQuadrature
from pyro_msde.data.reference import Cycle, Reference, reference_of
from pyro_msde.data.scaled_fields import (
    ScaledFields,
    observed_by_channel,
    observed_in,
    without_gaps,
)
from pyro_msde.data.segment_sizes import segment_sizes
from pyro_msde.data.segmentation import (
    cut,
    duration_of,
    each_trajectory,
    picks_by_segment,
    scaled_segments,
    segments_of,
)
from pyro_msde.data.segments import LENGTH, STRIDE, SegmentBatch, Segments
from pyro_msde.data.static_fields import packed_static, static_at_coarse_points
from pyro_msde.data.time_blocks import time_blocks
from pyro_msde.data.time_symbols import duration_units
from pyro_msde.data.trajectories import Trajectories
from pyro_msde.data.units import ROOM, Scaling
from pyro_msde.data.xarray_io import dated

__all__ = [
    "EAST",
    "LENGTH",
    "NORTH",
    "ROOM",
    "STRIDE",
    "Batch",
    "Cycle",
    "Inputs",
    "Link",
    "Log",
    "Metadata",
    "Padding",
    "Quadrature",
    "Reference",
    "ScaledFields",
    "Scaling",
    "SegmentBatch",
    "Segments",
    "Splits",
    "StratifiedQuadrature",
    "TimeUnits",
    "Trajectories",
    "all_times",
    "as_array",
    "beside",
    "calendar_phases",
    "check_period",
    "check_trajectories",
    "common_batches",
    "cropped",
    "cut",
    "dated",
    "duration_of",
    "duration_units",
    "each_trajectory",
    "evenly_spaced",
    "first_observed",
    "fitted_harmonics",
    "harmonics_at",
    "held",
    "in_degrees",
    "in_order",
    "inputs_of",
    "is_latitude",
    "is_longitude",
    "linked_scaling",
    "matched",
    "nearest",
    "num_controls_of",
    "num_covariates_of",
    "num_inputs_of",
    "num_separate",
    "observed_by_channel",
    "observed_in",
    "observed_snapshots",
    "packed_static",
    "padded",
    "period_in",
    "picks_by_segment",
    "reference_of",
    "rounding",
    "same_times",
    "scaled_segments",
    "segment_sizes",
    "segments_of",
    "since_first_observed",
    "static_at_coarse_points",
    "time_blocks",
    "to_numpy",
    "warn_of_outliers",
    "without_gaps",
]
