"""`python -m agentdistill`."""

from agentdistill.cli import main

if __name__ == "__main__":
    main()
