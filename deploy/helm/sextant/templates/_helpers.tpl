{{- define "sextant.name" -}}
{{- if contains "sextant" .Release.Name }}{{ .Release.Name | trunc 40 }}{{ else }}{{ .Release.Name | trunc 32 }}-sextant{{ end }}
{{- end }}

{{/* Labels that pods are found by. Takes a list: the chart's context, the component. */}}
{{- define "sextant.selector" -}}
app.kubernetes.io/name: sextant
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* All labels of an object. The same list; the component may be empty. */}}
{{- define "sextant.labels" -}}
{{- $top := index . 0 -}}
app.kubernetes.io/name: sextant
app.kubernetes.io/instance: {{ $top.Release.Name }}
{{- with index . 1 }}
app.kubernetes.io/component: {{ . }}
{{- end }}
app.kubernetes.io/part-of: sextant
app.kubernetes.io/version: {{ $top.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $top.Release.Service }}
helm.sh/chart: {{ $top.Chart.Name }}-{{ $top.Chart.Version }}
{{- end }}

{{/* What all pods have in common. A Service named sextant would put names such as SEXTANT_PORT into the environment,
which are no settings. */}}
{{- define "sextant.pod" -}}
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{- define "sextant.container" -}}
image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: ["ALL"]
{{- end }}

{{- define "sextant.spread" -}}
- maxSkew: 1
  topologyKey: {{ index . 2 }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "sextant.selector" . | nindent 6 }}
{{- end }}

{{/* A variable that the Secret must hold. Takes a list: the chart's context, the name. */}}
{{- define "sextant.secret" -}}
- name: {{ index . 1 }}
  valueFrom:
    secretKeyRef:
      name: {{ (index . 0).Values.secretName }}
      key: {{ index . 1 }}
{{- end }}

{{/* Pods are replaced when a setting changes. */}}
{{- define "sextant.checksum" -}}
checksum/config: {{ include (print $.Template.BasePath "/config.yaml") . | sha256sum }}
{{- end }}
