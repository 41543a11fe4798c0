{{/* Names. There is one driver of a name in a cluster, so objects are named after the chart, not after the release. */}}
{{- define "sharedcache.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "sharedcache.fullname" -}}
{{- default (include "sharedcache.name" .) .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "sharedcache.driver" -}}
{{- .Values.csiDriver.name }}
{{- end }}

{{/* Selector labels never change: a DaemonSet's selector is immutable. Called with (dict "root" $ "component" "node"). */}}
{{- define "sharedcache.selectorLabels" -}}
app.kubernetes.io/name: {{ include "sharedcache.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "sharedcache.labels" -}}
{{ include "sharedcache.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: sharedcache
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name (.root.Chart.Version | replace "+" "_") }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Pods carry neither the chart's version nor who manages it: a new chart that changes nothing restarts nothing. */}}
{{- define "sharedcache.podLabels" -}}
{{ include "sharedcache.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: sharedcache
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* registry/repository:tag@digest. Called with (dict "image" .Values.image "tag" "default tag"). A digest decides; the tag is then for people. */}}
{{- define "sharedcache.image" -}}
{{- $name := .image.repository }}
{{- with .image.registry }}{{ $name = printf "%s/%s" . $name }}{{ end }}
{{- $tag := default .tag .image.tag }}
{{- with $tag }}{{ $name = printf "%s:%s" $name . }}{{ end }}
{{- with .image.digest }}{{ $name = printf "%s@%s" $name . }}{{ end }}
{{- $name }}
{{- end }}

{{- define "sharedcache.node.serviceAccount" -}}
{{- if .Values.node.serviceAccount.create }}
{{- default (printf "%s-node" (include "sharedcache.fullname" .)) .Values.node.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.node.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "sharedcache.controller.serviceAccount" -}}
{{- if .Values.controller.serviceAccount.create }}
{{- default (printf "%s-controller" (include "sharedcache.fullname" .)) .Values.controller.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.controller.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* What lies below the kubelet directory, which is the one Bidirectional mount: the same paths inside and outside the container. */}}
{{- define "sharedcache.pluginDir" -}}
{{- printf "%s/plugins/%s" .Values.kubeletDir (include "sharedcache.driver" .) }}
{{- end }}

{{- define "sharedcache.stateDir" -}}
{{- default (printf "%s/state" (include "sharedcache.pluginDir" .)) .Values.node.stateDir }}
{{- end }}

{{- define "sharedcache.socket" -}}
{{- printf "%s/csi.sock" (include "sharedcache.pluginDir" .) }}
{{- end }}

{{- define "sharedcache.exposed" -}}
{{- if or .Values.metrics.expose .Values.metrics.podMonitor.enabled }}true{{ end }}
{{- end }}

{{/* Every share secret that is mounted: those listed, and those that the chart's own classes name. JSON list. */}}
{{- define "sharedcache.shareSecrets" -}}
{{- $names := .Values.shareSecrets }}
{{- range .Values.storageClasses }}
{{- with (get (default dict .parameters) "shareSecret") }}{{ $names = append $names . }}{{ end }}
{{- end }}
{{- $names | uniq | sortAlpha | toJson }}
{{- end }}

{{/* What the schema cannot say. Included by the DaemonSet's template. */}}
{{- define "sharedcache.validate" -}}
{{- $kubelet := .Values.kubeletDir }}
{{- if not (hasPrefix (printf "%s/" $kubelet) (include "sharedcache.stateDir" .)) }}
{{- fail (printf "node.stateDir: '%s' must lie below kubeletDir '%s': shares mounted there must outlive the plugin's container, and only the kubelet directory is mounted with propagation" (include "sharedcache.stateDir" .) $kubelet) }}
{{- end }}
{{- if hasPrefix (printf "%s/pods/" $kubelet) (printf "%s/" (include "sharedcache.stateDir" .)) }}
{{- fail (printf "node.stateDir: '%s' lies among kubelet's own pods, which kubelet cleans up: leave it empty" .Values.node.stateDir) }}
{{- end }}
{{- if gt (len (include "sharedcache.socket" .)) 107 }}
{{- fail (printf "kubeletDir: '%s' is longer than the 107 bytes that a socket's path may have: use a shorter kubeletDir (a link to it will do) or csiDriver.name" (include "sharedcache.socket" .)) }}
{{- end }}
{{- $names := list }}
{{- range $i, $class := .Values.storageClasses }}
{{- $parameters := default dict $class.parameters }}
{{- if has $class.name $names }}
{{- fail (printf "storageClasses[%d].name: '%s' stands twice" $i $class.name) }}
{{- end }}
{{- $names = append $names $class.name }}
{{- $type := default "local" (get $parameters "shareType") }}
{{- if and (ne $type "local") (not (get $parameters "share")) }}
{{- fail (printf "storageClasses[%d].parameters.share: shareType %s needs one" $i $type) }}
{{- end }}
{{- if and (eq $type "local") $class.mountOptions }}
{{- fail (printf "storageClasses[%d].mountOptions: nothing is mounted for shareType local: leave them out" $i) }}
{{- end }}
{{- $unc := hasPrefix "//" (default "" (get $parameters "share")) }}
{{- if and (eq $type "smb") (not $unc) }}
{{- fail (printf "storageClasses[%d].parameters.share: shareType smb needs //host/share" $i) }}
{{- end }}
{{- if and $unc (not (has $type (list "smb" "azurefile"))) }}
{{- fail (printf "storageClasses[%d].parameters.share: //host/share is for shareType smb and azurefile, not %s" $i $type) }}
{{- end }}
{{- if and $unc (not (get $parameters "shareSecret")) (not (has "guest" (default list $class.mountOptions))) }}
{{- fail (printf "storageClasses[%d].parameters.shareSecret: a share of type %s needs a user name and a password: name a secret in namespace %s" $i $type $.Release.Namespace) }}
{{- end }}
{{- end }}
{{- $audiences := list }}
{{- range $i, $request := .Values.csiDriver.tokenRequests }}
{{- if has $request.audience $audiences }}
{{- fail (printf "csiDriver.tokenRequests[%d].audience: '%s' stands twice" $i $request.audience) }}
{{- end }}
{{- $audiences = append $audiences $request.audience }}
{{- end }}
{{- end }}
