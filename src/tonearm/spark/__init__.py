"""Parts of the users on a cluster of Apache Spark."""
