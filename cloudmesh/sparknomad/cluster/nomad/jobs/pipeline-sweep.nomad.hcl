# Removes what pipelines have left in the cluster's HDFS when its time is over.

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

locals {
  # exec knows users of the host only: start as nobody without capabilities, then change over.
  become = [
    "--reuid=185", "--regid=185", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all",
    "--no-new-privs", "--", "/opt/sparknomad/bin/tini", "-g", "--",
  ]
  enter  = ["${var.rootfs}/opt/sparknomad/enter", var.rootfs, "185", "185"]
  suffix = var.site == "" ? "" : "-${var.site}"
  server = ["/usr/bin/env", "python3", "/opt/sparknomad/pipeline_sweep.py"]
}

job "pipeline-sweep" {
  id   = "pipeline-sweep${local.suffix}"
  name = "pipeline-sweep${local.suffix}"
  type = "batch"

  datacenters = [var.site == "" ? "*" : var.site]

  periodic {
    crons            = ["*/10 * * * *"]
    prohibit_overlap = true
  }

  group "sweep" {
    dynamic "volume" {
      for_each = var.parts
      labels   = ["image-${volume.value}"]
      content {
        type      = "host"
        source    = "image-${volume.value}"
        read_only = true
      }
    }

    # The next launch does what this one could not.
    restart {
      attempts = 0
      mode     = "fail"
    }

    reschedule {
      attempts  = 0
      unlimited = false
    }

    task "sweep" {
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
          args            = concat(slice(local.server, 1, 3), [])
        }
      }

      dynamic "config" {
        for_each = var.driver == "exec" ? ["/usr/bin/setpriv"] : []
        content {
          command  = config.value
          cap_drop = ["all"]
          cap_add  = ["setuid", "setgid", "setpcap"]
          args     = concat(local.become, local.server, [])
        }
      }

      dynamic "config" {
        for_each = var.driver == "raw_exec" ? ["/bin/sh"] : []
        content {
          command = config.value
          args    = concat(local.enter, local.server, [])
        }
      }

      env = var.environment

      template {
        destination = "local/services.json"
        data        = <<-EOT
          {"hdfs_http": "{{ with nomadService "hdfs-http${local.suffix}" }}{{ with index . 0 }}{{ .Address }}:{{ .Port }}{{ end }}{{ end }}"}
        EOT
        change_mode = "noop"
      }

      kill_signal  = "SIGTERM"
      kill_timeout = "5s"

      resources {
        cpu    = 50
        memory = 128
      }
    }
  }
}
