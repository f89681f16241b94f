{{- define "traefik.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "traefik.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- .Values.fullnameOverride | default $full | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "traefik.clusterName" -}}
{{- printf "%s-%s" (include "traefik.fullname" .) .Release.Namespace | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "traefik.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "traefik.fullname" .) -}}
{{- end -}}

{{/* The instance label carries the namespace too: two releases of one name in two namespaces stay apart. */}}
{{- define "traefik.selector" -}}
app.kubernetes.io/name: {{ include "traefik.name" . }}
app.kubernetes.io/instance: {{ .Values.instanceLabelOverride | default (printf "%s-%s" .Release.Name .Release.Namespace) | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "traefik.labels" -}}
{{ include "traefik.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "traefik.arguments" -}}
{{- $values := .Values -}}
{{- if $values.global.checkNewVersion }}
- --global.checkNewVersion
{{- end }}
{{- if $values.global.sendAnonymousUsage }}
- --global.sendAnonymousUsage
{{- end }}
{{- range $name, $port := $values.ports }}
{{- $flag := printf "--entryPoints.%s" $name }}
- {{ $flag }}.address=:{{ $port.port }}/{{ lower $port.protocol }}
{{- if $port.asDefault }}
- {{ $flag }}.asDefault=true
{{- end }}
{{- with $port.http }}
{{- with .redirections }}
{{- range $option, $value := .entryPoint }}
- {{ $flag }}.http.redirections.entryPoint.{{ $option }}={{ $value }}
{{- end }}
{{- end }}
{{- with .middlewares }}
- {{ $flag }}.http.middlewares={{ join "," . }}
{{- end }}
{{- with .maxHeaderBytes }}
- {{ $flag }}.http.maxHeaderBytes={{ int . }}
{{- end }}
{{- if (.tls).enabled }}
- {{ $flag }}.http.tls=true
{{- with .tls.options }}
- {{ $flag }}.http.tls.options={{ . }}
{{- end }}
{{- with .tls.certResolver }}
- {{ $flag }}.http.tls.certResolver={{ . }}
{{- end }}
{{- range $index, $domain := .tls.domains }}
- {{ $flag }}.http.tls.domains[{{ $index }}].main={{ $domain.main }}
{{- with $domain.sans }}
- {{ $flag }}.http.tls.domains[{{ $index }}].sans={{ join "," . }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- with $port.transport }}
{{- range $group := list "respondingTimeouts" "lifeCycle" }}
{{- range $option, $value := index $port.transport $group }}
{{- if not (kindIs "invalid" $value) }}
- {{ $flag }}.transport.{{ $group }}.{{ $option }}={{ $value }}
{{- end }}
{{- end }}
{{- end }}
{{- range $option := list "keepAliveMaxRequests" "keepAliveMaxTime" }}
{{- with index $port.transport $option }}
- {{ $flag }}.transport.{{ $option }}={{ . }}
{{- end }}
{{- end }}
{{- end }}
{{- range $group := list "forwardedHeaders" "proxyProtocol" }}
{{- with index $port $group }}
{{- with .trustedIPs }}
- {{ $flag }}.{{ $group }}.trustedIPs={{ join "," . }}
{{- end }}
{{- if .insecure }}
- {{ $flag }}.{{ $group }}.insecure
{{- end }}
{{- end }}
{{- end }}
{{- if ($port.http3).enabled }}
- {{ $flag }}.http3
{{- end }}
{{- end }}
- --api.dashboard={{ $values.api.dashboard }}
{{- with $values.api.basePath }}
- --api.basePath={{ . }}
{{- end }}
- --ping=true
{{- with $values.metrics.prometheus }}
- --metrics.prometheus=true
- --metrics.prometheus.entrypoint={{ .entryPoint }}
{{- $prometheus := . }}
{{- range $option := list "addEntryPointsLabels" "addRoutersLabels" "addServicesLabels" }}
{{- if not (kindIs "invalid" (index $prometheus $option)) }}
- --metrics.prometheus.{{ $option }}={{ index $prometheus $option }}
{{- end }}
{{- end }}
{{- with .buckets }}
- --metrics.prometheus.buckets={{ . }}
{{- end }}
{{- if .manualRouting }}
- --metrics.prometheus.manualrouting=true
{{- end }}
{{- end }}
{{- if $values.metrics.addInternals }}
- --metrics.addinternals
{{- end }}
{{- range $provider := list "kubernetesCRD" "kubernetesIngress" }}
{{- with index $values.providers $provider }}
{{- if .enabled }}
{{- $flag := printf "--providers.%s" (lower $provider) }}
- {{ $flag }}
{{- $settings := . }}
{{- range $option := list "allowCrossNamespace" "allowExternalNameServices" "allowEmptyServices" "nativeLBByDefault" "strictPrefixMatching" }}
{{- if index $settings $option }}
- {{ $flag }}.{{ $option }}=true
{{- end }}
{{- end }}
{{- with .ingressClass }}
- {{ $flag }}.ingressClass={{ . }}
{{- end }}
{{- with .labelSelector }}
- {{ $flag }}.labelSelector={{ . }}
{{- end }}
{{- $namespaces := .namespaces }}
{{- if $values.rbac.namespaced }}
{{- $namespaces = prepend .namespaces $.Release.Namespace | uniq }}
{{- end }}
{{- with $namespaces }}
- {{ $flag }}.namespaces={{ join "," . }}
{{- end }}
{{- if (.publishedService).enabled }}
{{- $own := printf "%s/%s" $.Release.Namespace (include "traefik.fullname" $) }}
- {{ $flag }}.ingressendpoint.publishedservice={{ .publishedService.pathOverride | default $own }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- with $values.providers.file }}
{{- if .enabled }}
- --providers.file.directory=/etc/traefik/dynamic
{{- if .watch }}
- --providers.file.watch=true
{{- end }}
{{- end }}
{{- end }}
{{- with $values.log }}
- --log.level={{ .level }}
{{- with .format }}
- --log.format={{ . }}
{{- end }}
{{- if .noColor }}
- --log.noColor=true
{{- end }}
{{- end }}
{{- if $values.accessLog.enabled }}
- --accesslog=true
{{- with $values.accessLog.format }}
- --accesslog.format={{ . }}
{{- end }}
{{- with $values.accessLog.bufferingSize }}
- --accesslog.bufferingsize={{ int . }}
{{- end }}
{{- end }}
{{- range $values.additionalArguments }}
- {{ . | quote }}
{{- end }}
{{- end -}}
