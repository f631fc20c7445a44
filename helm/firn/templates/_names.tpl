{{- define "firn.name" -}}
{{- if contains "firn" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-firn" .Release.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}
{{- define "firn.selector" -}}
app.kubernetes.io/name: firn-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "firn.labels" -}}
{{ include "firn.selector" . }}
app.kubernetes.io/part-of: firn
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}
{{- define "firn.account" -}}
{{ .Values.serviceAccount.name | default (include "firn.name" .) }}
{{- end }}
{{- define "firn.tag" -}}
{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- define "firn.agent" -}}
{{ .Values.agent.image | default (printf "%s:%s" (regexReplaceAll "firn-operator$" .Values.image.repository "firn-agent") (include "firn.tag" .)) }}
{{- end }}
