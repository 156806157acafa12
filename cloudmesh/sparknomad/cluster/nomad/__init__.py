"""The Nomad provider: Spark and HDFS as Nomad jobs."""
