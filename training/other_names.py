"""The names of recipe keys in other trainers, so that the error for an unknown key can suggest the right one."""

from collections.abc import Mapping
from types import MappingProxyType

KEYS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("learning_rate", "lr", "unet_lr"), "optimizer.lr"),
        **dict.fromkeys(("text_encoder_lr", "text_encoder_learning_rate"), "optimizer.text_encoder_lr"),
        **dict.fromkeys(("dim", "network_dim", "rank", "lora_rank", "lora_dim"), "adapter.rank"),
        **dict.fromkeys(("alpha", "network_alpha", "lora_alpha", "conv_alpha"), "adapter.alpha"),
        **dict.fromkeys(("batch", "train_batch_size", "per_device_train_batch_size"), "batch_size"),
        **dict.fromkeys(("accumulate", "gradient_accumulation", "accumulation"), "gradient_accumulation_steps"),
        **dict.fromkeys(("max_train_steps", "train_steps", "num_steps", "max_steps", "iterations"), "steps"),
        **dict.fromkeys(("max_train_epochs", "num_train_epochs", "num_epochs"), "epochs"),
        **dict.fromkeys(("mixed_precision", "dtype", "train_dtype"), "precision"),
        **dict.fromkeys(("pretrained_model_name_or_path", "model", "base_model", "checkpoint"), "base"),
        **dict.fromkeys(("lr_scheduler", "scheduler", "schedule", "lr_scheduler_type"), "optimizer.schedule"),
        **dict.fromkeys(("lr_warmup_steps", "warmup_steps", "warmup", "warm_up"), "optimizer.warmup_steps"),
        **dict.fromkeys(("max_grad_norm", "grad_clip", "clip_norm"), "optimizer.max_grad_norm"),
        **dict.fromkeys(("optimizer_type", "optimizer_name"), "optimizer.name"),
        **dict.fromkeys(("use_dora", "dora", "dora_wd", "weight_decompose"), "adapter.use_dora"),
        **dict.fromkeys(("use_rslora", "rslora"), "adapter.use_rslora"),
        **dict.fromkeys(("ema", "ema_decay", "use_ema"), "adapter.ema_decay"),
        **dict.fromkeys(("target_modules", "network_module", "lora_targets"), "adapter.targets"),
        **dict.fromkeys(("train_text_encoder", "text_encoders"), "adapter.text_encoders"),
        **dict.fromkeys(("network_weights", "init_from", "resume_from", "from"), "adapter.from"),
        **dict.fromkeys(("snr_gamma", "min_snr_gamma", "min_snr"), "objective.min_snr_gamma"),
        **dict.fromkeys(("noise_offset", "offset_noise"), "objective.noise_offset"),
        **dict.fromkeys(("caption_dropout", "caption_dropout_rate", "cond_dropout"), "objective.caption_dropout"),
        **dict.fromkeys(("prediction_type", "v_parameterization"), "objective.prediction"),
        **dict.fromkeys(("prior_loss_weight", "with_prior_preservation", "reg_weight"), "prior.weight"),
        **dict.fromkeys(("save_every", "save_every_n_steps", "checkpointing_steps", "save_steps"), "checkpoint_every"),
        **dict.fromkeys(("checkpoints_total_limit", "save_total_limit"), "keep_checkpoints"),
        **dict.fromkeys(("sample_prompts", "validation_prompt", "prompts"), "previews.prompts"),
        **dict.fromkeys(("enable_bucket", "use_buckets"), "data.buckets"),
        **dict.fromkeys(("report_to", "log_with", "tracker"), "trackers"),
    }
)
"""Another trainer's key, the last part of a dotted one → the recipe's key."""


def key_for(key: str) -> str | None:
    """Return the recipe's key for ``key`` of another trainer; None if it is unknown or is already the recipe's key."""
    recipe_key = KEYS.get(key.rpartition(".")[2].lower())
    return recipe_key if recipe_key != key else None
