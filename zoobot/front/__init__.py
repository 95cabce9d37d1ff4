"""The front door in Python: what stands at the top of the package, `zoobot.load`, `zoobot.finetune` and others."""
