"""Gate and publish: nobody reads a partition that has not passed."""
