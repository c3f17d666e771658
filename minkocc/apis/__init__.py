"""What the tools do, a module a tool."""
