"""Quality of answers: labelled queries from disk on real indexes, and the effect of each part of the ranking."""
