"""What every tool needs: how it ends, its worker processes, where its figures come from."""
