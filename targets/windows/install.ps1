<#
.SYNOPSIS
Installs otelet from its MSI, or upgrades it; for Windows PowerShell 5.1 and later, as an administrator.

.DESCRIPTION
Takes the MSI from a file or by https, compares it with SHA256SUMS, and runs Windows Installer silently. Settings without a
parameter stay as they are. The agent checks the parameters before anything is changed, and its messages are printed. A host
without a network needs only the two files.

.PARAMETER Msi
A path, or an https:// URL.

.PARAMETER Sums
SHA256SUMS: a path or a URL. Without it: the one beside the MSI.

.PARAMETER ConfigUrl
The source of configs: http://, https://, file:/// or an absolute path.

.PARAMETER ConfigPublicKey
A minisign public key. Only configs that are signed with it are accepted.

.PARAMETER CollectorPath
The Collector to run. Without it: otelcol-contrib, otelcol or otelcol-* from PATH.

.PARAMETER Attributes
Resource attributes of this host: site=a,rack=b. A comma in a value is written twice.

.PARAMETER Log
The file of Windows Installer's log.

.EXAMPLE
.\install.ps1 -Msi .\otelet-0.1.0-x86_64-pc-windows-gnu.msi -ConfigUrl https://config.example.com/edge/site-12.yaml

.NOTES
Exit status: that of msiexec. 0: installed; 3010: installed, and Windows needs a restart. 1: msiexec was not run.
#>
[CmdletBinding()]
param(
    [Parameter(Mandatory = $true, Position = 0)]
    [string] $Msi,
    [string] $Sums,
    [string] $ConfigUrl,
    [string] $ConfigPublicKey,
    [string] $CollectorPath,
    [string] $Attributes,
    [string] $Log = (Join-Path ([IO.Path]::GetTempPath()) 'otelet-msi.log')
)
$ErrorActionPreference = 'Stop'
Set-StrictMode -Version 2

function Stop-Installation([string] $Why) {
    [Console]::Error.WriteLine("install.ps1: $Why")
    exit 1
}

# Returns the path of a file. A URL is fetched into the directory of this run.
function Get-Part([string] $From) {
    if ($From -match '^http://') { Stop-Installation "${From}: a file fetched by http may be forged; use https" }
    if ($From -notmatch '^https://') {
        if (-not (Test-Path -LiteralPath $From -PathType Leaf)) { Stop-Installation "${From}: there is no such file" }
        return (Resolve-Path -LiteralPath $From).ProviderPath
    }
    $to = Join-Path $scratch ([IO.Path]::GetFileName(([Uri] $From).AbsolutePath))
    Write-Host "install.ps1: gets $From"
    Invoke-WebRequest -UseBasicParsing -Uri $From -OutFile $to
    return $to
}

# msiexec wants a value in quotes, with each quote in it doubled.
function Format-Property([string] $Name, [string] $Value) {
    return '{0}="{1}"' -f $Name, $Value.Replace('"', '""')
}

$identity = New-Object Security.Principal.WindowsPrincipal ([Security.Principal.WindowsIdentity]::GetCurrent())
if (-not $identity.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)) {
    Stop-Installation 'run this as an administrator'
}
# Server 2016 does not offer TLS 1.2 by itself.
[Net.ServicePointManager]::SecurityProtocol = [Net.ServicePointManager]::SecurityProtocol -bor [Net.SecurityProtocolType]::Tls12
$ProgressPreference = 'SilentlyContinue'

$scratch = Join-Path ([IO.Path]::GetTempPath()) ('otelet-' + [Guid]::NewGuid())
New-Item -ItemType Directory -Path $scratch | Out-Null
$status = 1
try {
    if (-not $Sums) { $Sums = $Msi -replace '[^/\\]+$', 'SHA256SUMS' }
    $file = Get-Part $Msi
    $name = [IO.Path]::GetFileName($file)
    $sum = (Get-FileHash -LiteralPath $file -Algorithm SHA256).Hash
    $line = "$sum  $name"
    # -contains ignores case: Get-FileHash writes upper case, SHA256SUMS lower case.
    if (-not (@(Get-Content -LiteralPath (Get-Part $Sums)) -contains $line)) {
        Stop-Installation "$name is damaged, or is not the file in SHA256SUMS: its SHA-256 is $sum"
    }

    $arguments = @('/i', "`"$file`"", '/qn', '/norestart', '/l*v', "`"$Log`"")
    $properties = @{
        CONFIG_URL = $ConfigUrl; CONFIG_PUBLIC_KEY = $ConfigPublicKey; COLLECTOR_PATH = $CollectorPath; ATTRIBUTES = $Attributes
    }
    foreach ($property in $properties.Keys) {
        if ($properties[$property]) { $arguments += Format-Property $property $properties[$property] }
    }
    $status = (Start-Process -FilePath msiexec.exe -ArgumentList ($arguments -join ' ') -Wait -PassThru).ExitCode

    # Prints the agent's lines of the log.
    if (Test-Path -LiteralPath $Log) {
        Select-String -LiteralPath $Log -Pattern '\botelet: (.*)' |
            ForEach-Object { Write-Host "install.ps1: $($_.Matches[0].Groups[1].Value)" }
    }
    if ($status -in 0, 3010) {
        Write-Host "install.ps1: $name is installed; 'otelet status' shows its state"
    }
    else {
        [Console]::Error.WriteLine("install.ps1: $name is not installed: msiexec says $status; its log is $Log")
    }
}
finally {
    Remove-Item -LiteralPath $scratch -Recurse -Force
}
exit $status
