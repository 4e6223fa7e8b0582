"""Graphs of users and of items on which features are seen as signals."""

from freqd.graph.build import build_graphs
from freqd.graph.graph import Graph, Graphs, no_graphs

__all__ = ["Graph", "Graphs", "build_graphs", "no_graphs"]
