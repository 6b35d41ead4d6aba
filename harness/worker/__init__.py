"""All that runs inside the sandbox: the protocol loop and one loader per submission kind. Never imports the host side."""
