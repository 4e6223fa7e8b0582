"""The HTTP service: recommendations of the registered model that an alias points at, followed as it moves.

One process, one event loop. A request is answered within the loop (a product with all items is well below a
millisecond for small features), so there is no queue and no hand-over between threads; only long lists of users go
to a thread, and so does loading a new model. The model is one attribute, replaced as a whole: a request takes it
once and is answered by that model from beginning to end.
"""
