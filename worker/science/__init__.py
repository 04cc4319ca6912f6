"""Pure computation: tensors and dataclasses in and out; knows neither database nor queue."""
