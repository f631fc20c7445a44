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
{{- if .Values.agent.image }}{{ .Values.agent.image }}
{{- else if hasSuffix "firn-operator" .Values.image.repository }}{{ trimSuffix "operator" .Values.image.repository }}agent:{{ include "firn.tag" . }}
{{- else }}{{ fail (printf "agent.image is empty, and image.repository %s, which does not end with firn-operator, does not tell it: write the agents' image" .Values.image.repository) }}
{{- end }}
{{- end }}
