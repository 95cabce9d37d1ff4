"""`python -m zoobot` is `zoobot`."""

from zoobot.cli import main_exit

if __name__ == "__main__":
    main_exit()
