"""How good the answers are: labelled questions on disk, asked of real indexes, and what each part of ranking adds."""
