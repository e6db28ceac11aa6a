"""`Elastic`: a language model and its nested sub-models."""

from cat_keras.errors import CatKerasError
from cat_keras.modeling.elastic import families, sizes


class Elastic:
    """A language model whose first layers, heads, units and channels are language models too.

    The sizes are nested: of two, one is within the other. The definition is ours, see `cat_keras.modeling.elastic`.
    Under a `tf.distribute` strategy it is made in the scope of the strategy, as its model.

    Args:
        model: a `CausalLM` as `models.build` makes, or of Gemma, Gemma 3 or Llama 3. Its weights stay where they are.
        sizes: a list of `Size`, or of tables such as {"layers": 2, "feedforward": 48}. The whole is always one of them.

    Attributes:
        model: the whole. sizes: in ascending order, with all numbers; the last one is the whole.

    Raises:
        CatKerasError: a model of another family, quantized or with LoRA; sizes that are not nested, or that no number
            of heads allows.
    """

    def __init__(self, model, sizes):
        family = families.of(model)
        self.model, self.backbone = model, model.backbone
        whole = families.whole(self.backbone)
        self.sizes = _nested(sizes, whole, self.backbone, family)
        self._models = {whole: model}
        self._trunks = {}
        for size in self.sizes:
            if size not in self._models:
                self._models[size] = self._shared(size)

    @property
    def whole(self) -> sizes.Size:
        """The size of the whole model."""
        return self.sizes[-1]

    def size(self, value) -> sizes.Size:
        """One of the sizes: by its place in `sizes`, or by a `Size` or table that may leave numbers of the whole out.

        Raises:
            CatKerasError: the model has no such size.
        """
        if isinstance(value, int) and not isinstance(value, bool) and -len(self.sizes) <= value < len(self.sizes):
            return self.sizes[value]
        if not isinstance(value, int):
            size = sizes.filled(sizes.of(value), self.whole)
            if size in self._models:
                return size
        raise CatKerasError(
            f"An elastic model has the sizes it was made with: {'; '.join(map(str, self.sizes))}. "
            f"Received: {value!r:.100}. Take one of them, or its place from 0 to {len(self.sizes) - 1}"
        )

    def at(self, size):
        """The `CausalLM` of a size, which shares the weights of the whole.

        Its variables read their part of the whole's in every forward pass, so it follows them through a training. It is
        made once, and what is compiled with it stays, so that going back and forth between sizes costs nothing. A
        write to its weights changes the whole's. It is trained by `training.elastic.Trainer`, all sizes together.

        Args:
            size: see `size`.
        """
        return self._models[self.size(size)]

    def extract(self, size):
        """A `CausalLM` of a size with a copy of its part of the weights, which depends on the whole no more.

        It is a model as any other, so it can be saved, loaded, exported and trained on.

        Args:
            size: see `size`.
        """
        cut = self._new(self.size(size))
        for variable, whole in families.counterparts(cut.backbone, self.backbone):
            variable.assign(whole.value[tuple(slice(n) for n in variable.shape)])
        return cut

    def trunk(self, size):
        """The sizes that are this one with fewer layers, and a model that computes the states of all of them at once.

        They have their layers in common with this one, so that a single pass through it ends in all of them.

        Returns:
            (sizes in descending order, this one first; a `keras.Model`: inputs of the backbone → list of their last
            hidden states after the last norm, each (batch, length, width)).
        """
        import keras

        size = self.size(size)
        if size not in self._trunks:
            exits = [s for s in reversed(self.sizes) if _same_but_depth(s, size) and s.layers <= size.layers]
            backbone = self._models[size].backbone
            ends = [backbone.transformer_layers[s.layers - 1].output for s in exits]
            self._trunks[size] = exits, keras.Model(backbone.input, [backbone.layer_norm(end) for end in ends])
        return self._trunks[size]

    @property
    def trunks(self) -> list[sizes.Size]:
        """The sizes whose passes compute all sizes, the whole first; see `trunk`."""
        return sizes.trunks(self.sizes)

    def _new(self, size):
        """A model of a size with weights of its own."""
        model, backbone = self.model, self.backbone
        cut = type(backbone)(**families.config(backbone, size))
        return type(model)(backbone=cut, preprocessor=model.preprocessor)

    def _shared(self, size):
        from cat_keras.modeling.elastic import shared

        cut = self._new(size)
        for variable, whole in families.counterparts(cut.backbone, self.backbone):
            shared.share(variable, whole)
        return cut

    def __repr__(self):
        return f"<Elastic {self.model.name}: {'; '.join(map(str, self.sizes))}>"


def _nested(values, whole, backbone, family):
    head = whole.width // whole.heads if family.tied_head else None
    return sizes.nested(values, whole, backbone.num_key_value_heads, head)


def _same_but_depth(one, other) -> bool:
    return (one.width, one.heads, one.feedforward) == (other.width, other.heads, other.feedforward)
