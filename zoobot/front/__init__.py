"""The front door in Python: what stands at the top of the package, `zoobot.finetune` and the others."""
