"""The front door in Python: `zoobot.load`, `zoobot.finetune`, and all that stands at the top."""
