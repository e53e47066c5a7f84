"""The five elements, rendered to exact bytes."""
