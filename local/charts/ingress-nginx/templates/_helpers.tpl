{{- define "nginx.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "nginx.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace -}}
{{- end -}}

{{- define "nginx.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- .Values.fullnameOverride | default $full | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "nginx.controller" -}}
{{- printf "%s-%s" (include "nginx.fullname" .) .Values.controller.name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "nginx.admission" -}}
{{- printf "%s-%s" (include "nginx.fullname" .) .Values.controller.admissionWebhooks.name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "nginx.election" -}}
{{- .Values.controller.electionID | default (printf "%s-leader" (include "nginx.fullname" .)) -}}
{{- end -}}

{{- define "nginx.serviceAccount" -}}
{{- $fallback := ternary (include "nginx.fullname" .) "default" .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default $fallback -}}
{{- end -}}

{{- define "nginx.selector" -}}
app.kubernetes.io/name: {{ include "nginx.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "nginx.labels" -}}
{{ include "nginx.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: {{ include "nginx.name" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "nginx.image" -}}
{{- printf "%s/%s:%s" .registry .image .tag -}}{{- with .digest }}@{{ . }}{{- end -}}
{{- end -}}

{{- define "nginx.arguments" -}}
{{- $controller := .Values.controller -}}
{{- $classes := $controller.ingressClassResource -}}
- /nginx-ingress-controller
{{- if and $controller.publishService.enabled $controller.service.enabled }}
{{- $own := printf "$(POD_NAMESPACE)/%s" (include "nginx.controller" .) }}
- --publish-service={{ $controller.publishService.pathOverride | default $own }}
{{- end }}
- --election-id={{ include "nginx.election" . }}
- --controller-class={{ $classes.controllerValue }}
{{- with $controller.ingressClass }}
- --ingress-class={{ . }}
{{- end }}
- --configmap=$(POD_NAMESPACE)/{{ include "nginx.controller" . }}
{{- range $protocol := list "tcp" "udp" }}
{{- if index $.Values $protocol }}
- --{{ $protocol }}-services-configmap=$(POD_NAMESPACE)/{{ include "nginx.fullname" $ }}-{{ $protocol }}
{{- end }}
{{- end }}
{{- if $controller.scope.enabled }}
- --watch-namespace={{ $controller.scope.namespace | default "$(POD_NAMESPACE)" }}
{{- end }}
{{- if $controller.admissionWebhooks.enabled }}
- --validating-webhook=:{{ $controller.admissionWebhooks.port }}
- --validating-webhook-certificate={{ $controller.admissionWebhooks.certificate }}
- --validating-webhook-key={{ $controller.admissionWebhooks.key }}
{{- end }}
{{- if $controller.ingressClassByName }}
- --ingress-class-by-name=true
{{- end }}
{{- if $controller.watchIngressWithoutClass }}
- --watch-ingress-without-class=true
{{- end }}
{{- if not $controller.enableAnnotationValidations }}
- --enable-annotation-validation=false
{{- end }}
{{- if $controller.metrics.enabled }}
- --enable-metrics=true
{{- end }}
{{- range $flag, $value := $controller.extraArgs }}
- --{{ $flag }}{{ with $value }}={{ . }}{{ end }}
{{- end }}
{{- end -}}
