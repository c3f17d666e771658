"""Real model classes of ``transformers`` with few random weights, saved as a download would be."""

import json

import torch
import transformers as tf

tf.logging.disable_progress_bar()

LABELS = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign"),
    *("vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train"),
    *("motorcycle", "bicycle"),
)
"""Cityscapes' as the models on the hub call them."""

WORDS = (
    "car sedan truck bus trailer crane excavator bicycle bicycl ##ist motorcycle motorcycl "
    "pedestrian traffic cone barrier barricade road highway sidewalk grass soil sand hill island "
    "rail track water building wall fence pole bridge billboard light street sign hydrant tree "
    "bush sky"
).split()
SPECIAL = {
    0: "[PAD]",
    100: "[UNK]",
    101: "[CLS]",
    102: "[SEP]",
    103: "[MASK]",
    1012: ".",
    1029: "?",
}
_SIZE = {"height": 64, "width": 64}


def save_tokenizer(folder):
    """A BERT tokenizer whose ids of full stops and the like are those the detector looks for."""
    folder.mkdir(parents=True, exist_ok=True)
    words = iter(WORDS)
    lines = [SPECIAL.get(i) or next(words, f"[unused{i}]") for i in range(1030)]
    (folder / "vocab.txt").write_text("\n".join(lines) + "\n")
    tokenizer = tf.BertTokenizerFast(str(folder / "vocab.txt"), do_lower_case=True)
    tokenizer.save_pretrained(folder)
    return tokenizer


def save_detector(folder, seed=0):
    """Grounding-DINO."""
    torch.manual_seed(seed)
    backbone = tf.SwinConfig(
        image_size=64, embed_dim=16, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=2,
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    text = tf.BertConfig(
        vocab_size=1030, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=64,
    )  # fmt: skip
    config = tf.GroundingDinoConfig(
        backbone_config=backbone, text_config=text, d_model=32, encoder_layers=2,
        decoder_layers=2, encoder_ffn_dim=32, decoder_ffn_dim=32, encoder_attention_heads=2,
        decoder_attention_heads=2, num_queries=12, max_text_len=48,
    )  # fmt: skip
    tf.GroundingDinoForObjectDetection(config).save_pretrained(folder)
    save_tokenizer(folder)
    size = {"shortest_edge": 64, "longest_edge": 128}
    tf.GroundingDinoImageProcessorPil(size=size).save_pretrained(folder)
    return folder


def save_sam(folder, seed=1):
    """SAM."""
    torch.manual_seed(seed)
    config = tf.SamConfig(
        vision_config={
            "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 64,
            "patch_size": 8, "output_channels": 32, "window_size": 4, "global_attn_indexes": [0],
            "num_pos_feats": 16, "mlp_dim": 32, "initializer_range": 0.2,
        },
        prompt_encoder_config={"hidden_size": 32, "image_size": 64, "patch_size": 8},
        mask_decoder_config={
            "hidden_size": 32, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 32,
        },
    )  # fmt: skip
    _blotchy(tf.SamModel(config)).save_pretrained(folder)
    tf.SamImageProcessorPil(
        size={"longest_edge": 64}, pad_size=_SIZE, mask_size={"longest_edge": 16},
        mask_pad_size={"height": 16, "width": 16},
    ).save_pretrained(folder)  # fmt: skip
    return folder


def save_sam2(folder, seed=2):
    """SAM 2, called a video model as those on the hub are."""
    torch.manual_seed(seed)
    backbone = {
        "hidden_size": 8, "image_size": [64, 64], "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64], "num_attention_heads_per_stage": [1, 1, 2, 2],
        "window_size_per_stage": [4, 4, 4, 2], "global_attention_blocks": [3],
        "window_positional_embedding_background_size": [4, 4],
    }  # fmt: skip
    config = tf.Sam2Config(
        vision_config={
            "backbone_config": {**backbone, "model_type": "sam2_hiera_det_model"},
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]], "fpn_hidden_size": 32,
        },
        prompt_encoder_config={"hidden_size": 32, "image_size": 64, "patch_size": 16},
        mask_decoder_config={
            "hidden_size": 32, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 32,
        },
    )  # fmt: skip
    _blotchy(tf.Sam2Model(config)).save_pretrained(folder)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_type": "sam2_video"}))
    kind = {"image_processor_type": "Sam2ImageProcessor", "size": _SIZE, "resample": 2}
    colours = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    flags = {"do_resize": True, "do_rescale": True, "do_normalize": True, "do_convert_rgb": True}
    content = {**kind, **colours, **flags, "rescale_factor": 1 / 255}
    (folder / "preprocessor_config.json").write_text(json.dumps(content))
    return folder


def save_segformer(folder, seed=3, labels=LABELS):
    """SegFormer: logits a pixel."""
    torch.manual_seed(seed)
    config = tf.SegformerConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 16, 16], num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=16, id2label=dict(enumerate(labels)),
    )  # fmt: skip
    model = tf.SegformerForSemanticSegmentation(config)
    torch.nn.init.normal_(model.decode_head.classifier.weight, std=60.0)
    model.save_pretrained(folder)
    tf.SegformerImageProcessorPil(size=_SIZE).save_pretrained(folder)
    return folder


def save_mask2former(folder, seed=4):
    """Mask2Former: classes of masks."""
    torch.manual_seed(seed)
    config = tf.Mask2FormerConfig(
        backbone_config=_swin(), feature_size=32, mask_feature_size=32, hidden_dim=32,
        encoder_feedforward_dim=16, dim_feedforward=16, encoder_layers=1, decoder_layers=2,
        num_attention_heads=2, num_queries=6, id2label=dict(enumerate(LABELS)),
    )  # fmt: skip
    model = tf.Mask2FormerForUniversalSegmentation(config)
    _decided(model, model.class_predictor).save_pretrained(folder)
    size = {"shortest_edge": 72, "longest_edge": 200}  # padded to a multiple of 32
    tf.Mask2FormerImageProcessorPil(size=size, size_divisor=32).save_pretrained(folder)
    return folder


def save_oneformer(folder, seed=5):
    """OneFormer: classes of masks, after being told the task."""
    torch.manual_seed(seed)
    config = tf.OneFormerConfig(
        backbone_config=_swin(), conv_dim=32, mask_dim=32, hidden_dim=32, num_queries=6,
        encoder_feedforward_dim=16, dim_feedforward=16, encoder_layers=1, decoder_layers=2,
        num_attention_heads=2, task_seq_len=8, max_seq_len=8, text_encoder_width=32,
        text_encoder_context_length=8, text_encoder_num_layers=1, text_encoder_vocab_size=1030,
        query_dec_layers=1, id2label=dict(enumerate(LABELS)),
    )  # fmt: skip
    model = tf.OneFormerForUniversalSegmentation(config)
    _decided(model, model.model.transformer_module.decoder.class_embed).save_pretrained(folder)
    save_tokenizer(folder)
    size = {"shortest_edge": 64, "longest_edge": 200}
    processor = tf.OneFormerImageProcessorPil(size=size, num_text=1)
    content = {**processor.to_dict(), "class_info_file": "on_the_hub.json"}
    (folder / "preprocessor_config.json").write_text(json.dumps(content, default=str))
    return folder


def _decided(model, classifier):
    """Queries that are sure of a class each, and of where it is."""
    torch.nn.init.normal_(classifier.weight, std=0.5)
    for name, parameter in model.named_parameters():
        if "mask_embed" in name and parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def _swin():
    return tf.SwinConfig(
        image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=2,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip


def _blotchy(model):
    """Random masks that are neither empty nor full: the last layers' weights are larger."""
    for mlp in model.mask_decoder.output_hypernetworks_mlps:
        for parameter in mlp.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    return model


MAKERS = {
    "detector": save_detector,
    "sam": save_sam,
    "sam2": save_sam2,
    "segformer": save_segformer,
    "mask2former": save_mask2former,
    "oneformer": save_oneformer,
}


def save_all(folder):
    """All of them, each in a folder of its name."""
    for name, save in MAKERS.items():
        save(folder / name)
