# Spark's History Server over the event logs in the cluster's HDFS.

variable "driver" {
  description = "The task driver: docker, exec or raw_exec."
  default     = "docker"
}

variable "image" {
  description = "The image's name in Docker."
  default     = ""
}

variable "rootfs" {
  description = "Where the image is unpacked on the hosts, for exec and raw_exec."
  default     = ""
}

variable "parts" {
  description = "The image's directories that hosts offer as volumes; for exec."
  type        = list(string)
  default     = []
}

variable "environment" {
  description = "The image's environment, which only Docker knows by itself."
  type        = map(string)
  default     = {}
}

variable "site" {
  description = "The site that it runs in, a Nomad datacenter; empty for a cluster without sites."
  default     = ""
}

variable "conf" {
  description = "Spark configuration of the cluster's servers, as JSON."
  default     = "{}"
}

locals {
  # exec knows users of the host only: start as nobody without capabilities, then change over.
  become = [
    "--reuid=185", "--regid=185", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all",
    "--no-new-privs", "--", "/opt/sparknomad/bin/tini", "-g", "--",
  ]
  enter  = ["${var.rootfs}/opt/sparknomad/enter", var.rootfs, "185", "185"]
  suffix = var.site == "" ? "" : "-${var.site}"
  server = ["/usr/bin/env", "python3", "/opt/sparknomad/daemon.py"]
}

job "spark-history" {
  id   = "spark-history${local.suffix}"
  name = "spark-history${local.suffix}"
  type = "service"

  datacenters = [var.site == "" ? "*" : var.site]

  # exec enters the image by the agent's configuration: only this tells that it is another.
  meta {
    rootfs = var.rootfs
  }

  # Without a deployment to wait for, a cluster can be scaled while it comes up.
  update {
    max_parallel = 0
  }

  group "history" {
    dynamic "volume" {
      for_each = var.parts
      labels   = ["image-${volume.value}"]
      content {
        type      = "host"
        source    = "image-${volume.value}"
        read_only = true
      }
    }

    network {
      port "ui" {}
    }

    service {
      name     = "spark-history${local.suffix}"
      provider = "nomad"
      port     = "ui"

      check {
        type     = "http"
        path     = "/api/v1/version"
        interval = "2s"
        timeout  = "2s"
      }
    }

    restart {
      attempts = 20
      interval = "1m"
      delay    = "1s"
      mode     = "delay"
    }

    task "history" {
      driver = var.driver
      user   = var.driver == "docker" ? "185:185" : ""

      dynamic "volume_mount" {
        for_each = var.parts
        content {
          volume      = "image-${volume_mount.value}"
          destination = "/${volume_mount.value}"
          read_only   = true
        }
      }

      dynamic "config" {
        for_each = var.driver == "docker" ? [var.image] : []
        content {
          image           = config.value
          network_mode    = "host"
          readonly_rootfs = true
          cap_drop        = ["all"]
          security_opt    = ["no-new-privileges"]
          volumes         = ["tmp:/tmp"]
          command         = local.server[0]
          args            = concat(slice(local.server, 1, 3), ["history"])
        }
      }

      dynamic "config" {
        for_each = var.driver == "exec" ? ["/usr/bin/setpriv"] : []
        content {
          command  = config.value
          cap_drop = ["all"]
          cap_add  = ["setuid", "setgid", "setpcap"]
          args     = concat(local.become, local.server, ["history"])
        }
      }

      dynamic "config" {
        for_each = var.driver == "raw_exec" ? ["/bin/sh"] : []
        content {
          command = config.value
          args    = concat(local.enter, local.server, ["history"])
        }
      }

      env = merge(var.environment, {
        SPARKNOMAD_HOST = "${NOMAD_HOST_IP_ui}"
        SPARKNOMAD_CONF = var.conf
      })

      template {
        destination = "secrets/spark"
        data        = "{{ with nomadVar \"nomad/jobs\" }}{{ .spark_secret }}{{ end }}"
        uid         = 185
        gid         = 185
        perms       = "0400"
        change_mode = "restart"
        splay       = "0s"
      }

      template {
        destination = "local/services.json"
        data        = <<-EOT
          {"hdfs": "{{ with nomadService "hdfs${local.suffix}" }}{{ with index . 0 }}{{ .Address }}:{{ .Port }}{{ end }}{{ end }}"}
        EOT
        change_mode = "restart"
        splay       = "0s"
      }

      kill_signal  = "SIGTERM"
      kill_timeout = "10s"

      resources {
        cpu    = 100
        memory = 768
      }
    }
  }
}
