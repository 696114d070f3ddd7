"""What holds for a suite of log-probabilities as a whole, as programs read it."""

from repro_gate.core.logprob_report import SuiteTest, SuiteVerdict, Usability, WeightReport
from repro_gate.reports import foreign
from repro_gate.reports.json_figures import figure
from repro_gate.reports.json_logprob_types import MatrixEntry, WeightEntry


def matrix_entry(matrix: SuiteTest) -> MatrixEntry:
    """Return the test over all cells; what was not tested has no figures."""
    if matrix.verdict is SuiteVerdict.NOT_TESTED:
        return {
            "verdict": matrix.verdict.value,
            "cells": matrix.cells,
            "left_out": matrix.left_out,
            "p_value": None,
            "evidence": None,
            "typical_shift": None,
            "second_look": matrix.second_look,
            "mean_shift": None,
            "mean_shift_bound": None,
            "sameness": None,
        }
    return {
        "verdict": matrix.verdict.value,
        "cells": matrix.cells,
        "left_out": matrix.left_out,
        "p_value": figure(matrix.p_value),
        "evidence": foreign.one_line(matrix.evidence),
        "typical_shift": figure(matrix.typical_shift),
        "second_look": matrix.second_look,
        "mean_shift": figure(matrix.mean_shift),
        "mean_shift_bound": figure(matrix.mean_shift_bound),
        "sameness": matrix.sameness.value,
    }


def weight_entry(found: WeightReport) -> WeightEntry:
    """Return what importance weights are good for."""
    return {
        "base": found.base,
        "target": found.target,
        "is_control": found.is_control,
        "must_be_usable": found.must_be_usable,
        "usable": found.usability is Usability.USABLE,
        "usability": found.usability.value,
        "problems": [foreign.message(problem) for problem in found.problems],
        "doubts": [foreign.message(doubt) for doubt in found.doubts],
        "control_doubt": None
        if found.control_doubt is None
        else foreign.message(found.control_doubt),
        "items": found.items,
        "mean_log_ratio": figure(found.mean_log_ratio),
        "effective_size": figure(found.effective_size),
        "largest_share": figure(found.largest_share),
        "mean_weight": figure(found.mean_weight),
        "mean_p": figure(found.mean_p),
        "khat": None if found.khat is None else figure(found.khat),
        "khat_bar": None if found.khat_bar is None else figure(found.khat_bar),
        "control_p": None if found.control_p is None else figure(found.control_p),
    }
