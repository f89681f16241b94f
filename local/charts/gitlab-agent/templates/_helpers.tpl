{{- define "agent.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "agent.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- .Values.fullnameOverride | default $full | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "agent.selector" -}}
app.kubernetes.io/name: {{ include "agent.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "agent.labels" -}}
{{ include "agent.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.additionalLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "agent.serviceAccount" -}}
{{- $fallback := ternary (include "agent.fullname" .) "default" .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default $fallback -}}
{{- end -}}

{{- define "agent.secret" -}}
{{- .Values.config.secretName | default (printf "%s-token" (include "agent.fullname" .)) -}}
{{- end -}}

{{- define "agent.scanner" -}}
{{- printf "%s-ocs-scanning-pod-sa" (include "agent.fullname" .) -}}
{{- end -}}

{{/* What a simulated node would hide: a pod that cannot run still reports Ready there, so it is refused before. */}}
{{- define "agent.validate" -}}
{{- with .Values.config -}}
{{- if .receptive.enabled -}}
{{- fail "config.receptive.enabled: this stand-in does not cover receptive agents" -}}
{{- end -}}
{{- if not .kasAddress -}}
{{- fail "config.kasAddress is required, for example wss://kas.gitlab.com" -}}
{{- end -}}
{{- if not (regexMatch "^(ws|wss|grpc|grpcs)://[^/]" .kasAddress) -}}
{{- fail (printf "config.kasAddress %q: unsupported scheme in GitLab Kubernetes Agent Server address, use wss://" .kasAddress) -}}
{{- end -}}
{{- if not (or .token .secretName) -}}
{{- fail "config.token or config.secretName is required: without either the agent finds no token file and never starts" -}}
{{- end -}}
{{- end -}}
{{- if index .Values "ingress-nginx" "enabled" -}}
{{- fail "ingress-nginx.enabled: this stand-in has no subchart" -}}
{{- end -}}
{{- end -}}
