"""`python -m service.client.terminal`: the command line."""

from service.client.terminal.commands import main

main()
