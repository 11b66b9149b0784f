"""Attempts at nodes: who computes, proof of life, how an attempt ended, publishing, removal."""
